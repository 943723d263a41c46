import type { Finding } from '../../types/doctor.js'
import { readApp } from './load-app.js'
import { type Output, parse, UsageError } from './terminal.js'

/** Prints the weaknesses in the set-up of an application. */
export async function doctor (args: readonly string[]): Promise<Output> {
  const { values, positionals } = parse({
    args: [...args], options: { json: { type: 'boolean' } }, allowPositionals: true
  }, 'The only option of doctor is --json.')
  const [app, ...more] = positionals
  if (app === undefined || more.length > 0) {
    throw new UsageError('doctor needs one module: fastify-gatehouse doctor app.js')
  }
  const findings = await readApp<readonly Finding[]>(
    app,
    async registrations => (await Promise.all(registrations.map(each => each.examine()))).flat(),
    // The command shows what would stop the boot.
    registration => { registration.allowBoot() }
  )
  const isDangerous = findings.some(({ severity, ignored }) => severity === 'refused' && ignored === null)
  const text = values['json'] === true ? JSON.stringify(findings, null, 2) : writeFindings(findings)
  return { text, exitCode: isDangerous ? 1 : 0 }
}

function writeFindings (findings: readonly Finding[]): string {
  const open = findings.filter(({ ignored }) => ignored === null)
  const sections = [
    section('Refused in production', open.filter(({ severity }) => severity === 'refused')),
    section('Warned', open.filter(({ severity }) => severity === 'warned')),
    section('Ignored', findings.filter(({ ignored }) => ignored !== null))
  ].flat()
  return sections.length === 0 ? 'Nothing was found.' : sections.join('\n\n')
}

/** Returns a section, or nothing without findings. */
function section (title: string, findings: readonly Finding[]): readonly string[] {
  if (findings.length === 0) return []
  const lines = findings.flatMap(({ id, what, where, why, fix, ignored }) => [
    `  ${id}: ${what}`,
    ...where.map(each => `    - ${each}`),
    ...ignored === null ? [`    ${why}`, `    ${fix}`] : [`    Reason: ${ignored}`]
  ])
  return [[`${title} (${findings.length})`, ...lines].join('\n')]
}
