import { misconfigured } from '../errors.js'
import { describeValue } from '../util/describe.js'

/** Parses the option `decorate` of a scheme: `true` for the scheme's own name, or another name. */
export function decorateOption (value: unknown, option: string): true | string {
  if (value === true || (typeof value === 'string' && /^[A-Za-z][\w-]*$/.test(value))) return value
  throw misconfigured(`${option} must be true, or the name of a property of request, such as 'user'. Got ` +
    `${describeValue(value)}.`)
}
