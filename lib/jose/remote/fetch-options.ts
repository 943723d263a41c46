import { Agent } from 'node:http'
import { misconfigured } from '../../errors.js'
import { describeValue } from '../../util/describe.js'

/** Parses the option `agent`: the agent of fetches. */
export function parseAgent (value: unknown, option: string): Agent {
  if (value instanceof Agent) return value
  throw misconfigured(`${option} must be an Agent of node:https, or of node:http for hosts without TLS. Got ` +
    `${describeValue(value)}.`)
}

/** Parses the option `insecureHosts`: the hosts that may be fetched from over plain http. */
export function parseHosts (value: unknown, option: string): readonly string[] {
  if (Array.isArray(value) && value.every(isHost)) return Object.freeze([...value])
  throw misconfigured(`${option} must be a list of host names in lower case, without scheme and port, such as ` +
    "['keycloak'].")
}

/** Returns true for a host name in the form that URLs have. */
function isHost (value: unknown): value is string {
  if (typeof value !== 'string' || !URL.canParse(`http://${value}`) || /:\d+$/.test(value)) return false
  return new URL(`http://${value}`).host === value
}
