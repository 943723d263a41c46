import { readFileSync, writeFileSync } from 'node:fs'
import type { AuditRow } from '../../types/audit.js'
import { compareSnapshots, isAlarming, type Comparison, type Difference } from '../audit/compare.js'
import { auditMarkdown, auditTable } from '../audit/rows.js'
import {
  endpointsOf, parseSnapshot, routeInWords, routeSummaries, type Snapshot, type SnapshotError, writeSnapshot
} from '../audit/snapshot.js'
import { readApp } from './load-app.js'
import { Failure, type Output, parse, UsageError, valueOf } from './terminal.js'

/** The arguments of the command, parsed. */
interface Arguments {
  readonly app: string
  readonly form: 'text' | 'json' | 'markdown'
  /** The file of the snapshot. */
  readonly file: string | null
  readonly update: boolean
}

/** Holds the audit, the roles and the schemes of an application. */
interface Audited {
  readonly rows: readonly AuditRow[]
  readonly snapshot: Snapshot
}

/** Prints who may call each route of an application, or compares that with a snapshot. */
export async function audit (args: readonly string[]): Promise<Output> {
  const { app, form, file, update } = parseArguments(args)
  const before = file === null || update ? null : readSnapshot(file)
  const { rows, snapshot } = await readApp<Audited>(app, registrations => {
    const rows = registrations.flatMap(each => each.rows())
    return {
      rows,
      snapshot: {
        schemes: registrations.flatMap(each => each.schemes()),
        roles: registrations.flatMap(each => each.roles()),
        routes: routeSummaries(rows)
      }
    }
  })
  if (file !== null && update) {
    writeFile(file, writeSnapshot(snapshot))
    return { text: `Routes written to ${file}: ${rows.length}.`, exitCode: 0 }
  }
  if (before === null) return { text: writeRows(rows, form), exitCode: 0 }
  // Writes the snapshot and reads it again, so that both have the same form.
  const comparison = compareSnapshots(before, parseSnapshot(writeSnapshot(snapshot)))
  return { text: writeComparison(comparison, rows, form), exitCode: isAlarming(comparison) ? 1 : 0 }
}

function parseArguments (args: readonly string[]): Arguments {
  const flag = { type: 'boolean' } as const
  const { values, positionals } = parse({
    args: [...args],
    options: { json: flag, markdown: flag, update: flag, check: { type: 'string', multiple: true } },
    allowPositionals: true
  }, 'The options of audit are --json, --markdown, --update and --check, which needs a file.')
  const [app, ...more] = positionals
  if (app === undefined || more.length > 0) {
    throw new UsageError('audit needs one module: fastify-gatehouse audit app.js')
  }
  if (values.json === true && values.markdown === true) throw new UsageError('Choose one of --json and --markdown.')
  const file = valueOf('check', values.check) ?? null
  if (values.update === true && file === null) throw new UsageError('--update writes the file of --check FILE.')
  const form = values.json === true ? 'json' : values.markdown === true ? 'markdown' : 'text'
  return { app, form, file, update: values.update === true }
}

function readSnapshot (file: string): Snapshot {
  let text
  try {
    text = readFileSync(file, 'utf8')
  } catch {
    throw new Failure(`The snapshot ${file} cannot be read. Write it with --check ${file} --update.`, 2)
  }
  try {
    return parseSnapshot(text)
  } catch (error) {
    throw new Failure(`The snapshot ${file} cannot be used. ${(error as SnapshotError).message}`, 2)
  }
}

function writeFile (file: string, text: string): void {
  try {
    writeFileSync(file, text)
  } catch {
    throw new Failure(`The snapshot ${file} cannot be written.`, 2)
  }
}

function writeRows (rows: readonly AuditRow[], form: Arguments['form']): string {
  switch (form) {
    case 'json': return JSON.stringify(rows, null, 2)
    case 'markdown': return auditMarkdown(rows)
    case 'text': return auditTable(rows)
  }
}

const headings: Readonly<Record<Difference['verdict'], string>> = {
  loosened: 'Loosened', unclear: 'To be looked at', tightened: 'Tightened', note: 'Notes'
}

function writeComparison (
  { differences, unnamed }: Comparison, rows: readonly AuditRow[], form: Arguments['form']
): string {
  const files = new Map(rows.flatMap(row => endpointsOf(routeInWords(row)).map(name => [name, row.file] as const)))
  const fileOf = (subject: string): string | null =>
    endpointsOf(subject).map(name => files.get(name)).find(file => file != null) ?? null
  const found = differences.map(each => ({ ...each, file: fileOf(each.subject) }))
  if (form === 'json') return JSON.stringify({ differences: found, unnamed }, null, 2)
  const isMarkdown = form === 'markdown'
  const sections = (Object.keys(headings) as Difference['verdict'][]).flatMap(verdict => {
    const some = found.filter(each => each.verdict === verdict)
    if (some.length === 0) return []
    const title = `${headings[verdict]} (${some.length})`
    const lines = some.flatMap(({ subject, file, details }) => {
      const location = file === null ? '' : ` (in ${file})`
      return isMarkdown
        ? [`- \`${subject}\`${location}`, ...details.map(detail => `  - ${detail}`)]
        : [`  ${subject}${location}`, ...details.map(detail => `    ${detail}`)]
    })
    return [[isMarkdown ? `### ${title}\n` : title, ...lines].join('\n')]
  })
  if (sections.length === 0) sections.push('Nothing has changed.')
  if (unnamed.length > 0) {
    sections.push(`Functions without a name of their own cannot be compared, on ${unnamed.length} ` +
      `${unnamed.length === 1 ? 'route' : 'routes'}: ${unnamed.join(', ')}`)
  }
  return sections.join('\n\n')
}
