/** The stable id of a finding. */
export type FindingId =
  | 'placeholder-secret'
  | 'insecure-cookies'
  | 'plain-http'
  | 'test-kit'
  | 'insecure-hosts'
  | 'memory-store'
  | 'shared-secret'
  | 'trust-proxy-all'
  | 'trust-proxy-count'
  | 'cors-credentials'
  | 'unlimited-login'
  | 'query-credentials'
  | 'unredacted-logger'
  | 'unredacted-trace'
  | 'unredacted-not-found'
  | 'public-without-reason'
  | 'unused-public-path'
  | 'unused-scheme'
  | 'unused-scope'
  | 'missing-login-page'
  | 'issuer-origin'
  | 'long-reuse-grace'
  | 'refresh-without-load'
  | 'redis-eviction'

/** Describes one weakness of a set-up. */
export interface Finding {
  readonly id: FindingId
  /** `refused` stops the boot if `NODE_ENV` is `production`. `warned` is logged. */
  readonly severity: 'refused' | 'warned'
  /** The weakness, as a clause. */
  readonly what: string
  /** The options, routes or other places that have it. */
  readonly where: readonly string[]
  /** The consequence, as a sentence. */
  readonly why: string
  /** The fix, as a sentence. */
  readonly fix: string
  /** The reason in `doctor.ignore`; `null` without one. */
  readonly ignored: string | null
}

/** The option `doctor` of the plugin. */
export interface DoctorOptions {
  /** Findings that are accepted, each with the reason. They neither stop the boot nor are warnings. */
  readonly ignore?: { readonly [K in FindingId]?: string }
}
