import { randomBytes } from 'node:crypto'
import { Writable } from 'node:stream'
import type { Test } from 'tap'

/** Characters that may not be found together. In hex and base64 more are asked for: 8 of them say less, and are met by chance. */
const lengths = { text: 8, base64: 12, hex: 16 } as const

/** The end of the base64 of a text depends on where in a longer one it stands. */
function base64Of (text: string): readonly string[] {
  return [0, 1, 2].map(shift => Buffer.from(' '.repeat(shift) + text).toString('base64').replace(/=+$/, '').slice(shift === 0 ? 0 : 4, -1))
}

/** Every secret of a run, and whether anything of one, 8 characters or more, stands in a text. */
export class Ledger {
  readonly #names = new Map<string, string>()
  #secrets = 0

  /**
   * @param isPublic the part of it that may be seen: only windows that are wholly in it are.
   * @returns the secret.
   */
  keep (name: string, secret: string, isPublic = ''): string {
    if (secret.length < lengths.text) throw new Error(`${name} is too short to be told from other text`)
    this.#secrets++
    const open = new Set(windows(isPublic, lengths.text))
    for (const window of windows(secret, lengths.text)) if (!open.has(window)) this.#names.set(window, name)
    for (const form of base64Of(secret)) for (const window of windows(form, lengths.base64)) this.#names.set(window, `${name}, in base64`)
    const hex = Buffer.from(secret).toString('hex')
    for (const form of [hex, hex.toUpperCase()]) for (const window of windows(form, lengths.hex)) this.#names.set(window, `${name}, in hex`)
    return secret
  }

  /** A key of managed keys. Its prefix and the four characters behind it are in its record, for people to recognise it by: that is all that is public. */
  keepKey (key: string, prefix: string): string {
    return this.keep('a managed key', key, key.slice(0, prefix.length + 1 + 4))
  }

  /** A JWT. Its header is the same for every token of an algorithm, and no secret; what it claims, and the signature, are. */
  keepToken (token: string): string {
    return this.keep('a token', token, `${token.split('.', 1)[0]}.`)
  }

  /** The value of a cookie that a response sets, by the cookie's name. */
  keepCookies (lines: readonly string[]): void {
    for (const line of lines) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      if (value !== '') this.keep(`the cookie ${name}`, value)
    }
  }

  get size (): number {
    return this.#secrets
  }

  /** The names of the secrets of which something is in a text, each once. Never the text. */
  found (text: string | Buffer): readonly string[] {
    const all = typeof text === 'string' ? text : text.toString('latin1')
    const names = new Set<string>()
    for (const length of new Set(Object.values(lengths))) {
      for (const window of windows(all, length)) {
        const name = this.#names.get(window)
        if (name !== undefined) names.add(name)
      }
    }
    return [...names]
  }

  /** Asserts that nothing is in the texts, and that it would have been found: 8 characters of a secret are put among them. */
  check (t: Test, texts: Readonly<Record<string, string | Buffer>>): void {
    const planted = randomBytes(12).toString('base64url')
    this.keep('a planted one', planted)
    for (const [place, text] of Object.entries(texts)) {
      t.ok(text.length > 0, `${place} holds something`)
      t.same(this.found(text), [], `${place} holds nothing of ${this.size} secrets (${text.length} characters)`)
      const middle = Math.floor(text.length / 2)
      t.same(this.found(Buffer.concat([Buffer.from(text).subarray(0, middle), Buffer.from(planted.slice(3, 11)), Buffer.from(text).subarray(middle)])), ['a planted one'], `${place}: 8 characters would be found`)
    }
  }
}

function * windows (text: string, length: number): Generator<string> {
  for (let i = 0; i + length <= text.length; i++) yield text.slice(i, i + length)
}

/** A logger's options, and everything that it wrote. */
export function tracing () {
  let lines = ''
  const stream = new Writable({ write (chunk, _encoding, done) { lines += String(chunk); done() } })
  return { logger: { level: 'trace', stream } as const, lines: () => lines }
}

/** A random text of a length, of letters, digits, - and _. */
export function random (length = 32): string {
  return randomBytes(length).toString('base64url').slice(0, length)
}
