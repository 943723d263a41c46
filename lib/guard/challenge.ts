import type { Challenge } from '../../types/challenge.js'
import { fault } from '../errors.js'
import { shown } from '../shape.js'

/**
 * Writes the value of `WWW-Authenticate` (RFC 9110, 11.6.1): one writer for every scheme. Equal challenges are written once, and Basic comes first,
 * because browsers prompt for the first scheme that they know and some read no further.
 */
export function writeChallenges (challenges: readonly Challenge[]): string {
  const ordered = [...challenges].sort((a, b) => Number(isBasic(b)) - Number(isBasic(a)))
  return [...new Set(ordered.map(write))].join(', ')
}

function isBasic (challenge: Challenge): boolean {
  return challenge.scheme.toLowerCase() === 'basic'
}

/** RFC 9110, 5.6.2. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

/** @throws {AuthError} `AUTH_FAULT` for a name that is no token: it would end the header, or begin another. */
function write ({ scheme, params }: Challenge): string {
  const said = Object.entries(params).flatMap(([name, value]) => value === undefined ? [] : [[name, value] as const])
  const stranger = [scheme, ...said.map(([name]) => name)].find(name => !token.test(name))
  if (stranger !== undefined) throw fault(`a challenge has the name ${shown(stranger)}, which is no token of RFC 9110`)
  const written = said.map(([name, value]) => `${name}=${typeof value === 'number' ? value : quote(value)}`)
  return written.length === 0 ? scheme : `${scheme} ${written.join(', ')}`
}

/** RFC 9110, 5.6.4: `quoted-string`. Control characters cannot be in a header at all; what is beyond Latin-1 cannot be in ours. */
function quote (value: string): string {
  return `"${value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '?').replace(/["\\]/g, '\\$&')}"`
}
