import type { AuditRow } from '../../types/audit.js'

const titles = ['route', 'access', 'schemes', 'rules', 'from', 'file'] as const

function cellsOf ({ method, url, access, schemes, rules, from, reason, file }: AuditRow): readonly string[] {
  const words = [...rules, ...reason === null ? [] : [reason]].join('; ')
  return [`${method} ${url}`, access, schemes, words, from, file ?? '']
}

/** Writes the audit as a table of text. */
export function auditTable (rows: readonly AuditRow[]): string {
  const lines: ReadonlyArray<readonly string[]> = [titles, ...rows.map(cellsOf)]
  const widths = titles.map((_, i) => Math.max(...lines.map(cells => String(cells[i]).length)))
  return lines.map(cells => cells.map((cell, i) => cell.padEnd(Number(widths[i]))).join('  ').trimEnd()).join('\n')
}

/** Writes the audit as a table of Markdown. */
export function auditMarkdown (rows: readonly AuditRow[]): string {
  const lines = [titles, titles.map(() => '---'), ...rows.map(row => cellsOf(row).map(escape))]
  return lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

function escape (cell: string): string {
  return cell.replaceAll('|', '\\|')
}
