import { readdirSync, readFileSync } from 'node:fs'

const root = new URL('../../', import.meta.url)

/** A fenced block of a page: its language, the words after the language, and its location. */
export interface Block {
  readonly file: string
  /** The line of the opening fence. */
  readonly line: number
  readonly language: string
  readonly mark: string
  readonly code: string
}

/** The README and the pages of `docs/`, relative to the root. */
export const pages = [
  'README.md',
  ...readdirSync(new URL('docs/', root)).filter(file => file.endsWith('.md')).map(file => `docs/${file}`)
]

export function textOf (page: string): string {
  return readFileSync(new URL(page, root), 'utf8')
}

/** Returns the fenced blocks of a page in order. */
export function blocksOf (page: string): readonly Block[] {
  const text = textOf(page)
  return [...text.matchAll(/^```(\w*) ?(.*)\n((?:.*\n)*?)^```$/gm)].map(match => ({
    file: page,
    line: text.slice(0, match.index).split('\n').length,
    language: match[1] ?? '',
    mark: match[2] ?? '',
    code: match[3] ?? ''
  }))
}

/** Returns the title of a block in a test: its location and its first line. */
export function titleOf ({ file, line, code }: Block): string {
  return `${file}:${line} ${code.trim().split('\n')[0]}`
}
