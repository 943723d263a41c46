import { createTokenCache, type CachedToken } from '../../util/token-cache.js'
import { unpack, type Session } from './payload.js'
import type { Seal } from './seal.js'

/** What a cookie says, whatever the hour: nothing of it can be changed. */
export interface OpenedCookie extends CachedToken {
  /** `null` when another version of this plugin wrote it. */
  readonly session: Session | null
  /** Sealed with an older secret than the newest. */
  readonly old: boolean
}

/** Cookies that are not opened again, each time the same comes: some megabytes, as most are small. When they end, and whether they were ended, is asked all the same. */
const remembered = 2_048

/** The cookies of one scheme, opened. */
export class OpenedCookies {
  readonly #seal: Seal
  readonly #holdsAuthority: boolean
  readonly #known = createTokenCache<OpenedCookie>(remembered)

  /** @param holdsAuthority whether scopes and roles are in the cookie, because nobody loads them. */
  constructor (seal: Seal, holdsAuthority: boolean) {
    this.#seal = seal
    this.#holdsAuthority = holdsAuthority
  }

  known (text: string): OpenedCookie | undefined {
    return this.#known.get(text)
  }

  /** `null` for what this scheme did not seal. */
  open (text: string): OpenedCookie | null {
    const opened = this.#seal.open(text)
    return opened === null ? null : { token: text, session: unpack(opened.payload, this.#holdsAuthority), old: opened.old }
  }

  /** Only of sessions that are not over: others would push them out. */
  keep (opened: OpenedCookie): void {
    this.#known.add(opened)
  }
}
