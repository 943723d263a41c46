import type { FindingId } from '../../types/doctor.js'

/** A weakness that a part of an application has noticed in its own options. */
export interface Report {
  readonly id: FindingId
  /** The option or the place that has it. */
  readonly where: string
}

const reports = new WeakMap<object, Report[]>()

/**
 * Reports a weakness of an application to its doctor, which decides what to do about it once the application is ready.
 *
 * @example
 * report(app, 'insecure-cookies', 'schemes.web.secure')
 * @param app the instance that the plugin was registered on.
 */
export function report (app: object, id: FindingId, where: string): void {
  const known = reports.get(app)
  if (known === undefined) reports.set(app, [{ id, where }])
  else known.push({ id, where })
}

/** Returns what was reported about an application until now. */
export function reportsOf (app: object): readonly Report[] {
  return reports.get(app) ?? []
}
