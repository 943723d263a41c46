import { isIPv4, isIPv6 } from 'node:net'

/** An IPv4 address within IPv6: mapped (RFC 4291, 2.5.5.2), and translated (RFC 6052, 2.1). */
const carriers = ['0:0:0:0:0:ffff', '64:ff9b:0:0:0:0']

/** What is no address: a Unix socket, or what a proxy wrote in a form of its own. */
export const unknownAddress = 'unknown'

/**
 * An address as it counts, one text for all of its spellings: IPv4 whole, IPv6 by its /64, which is what one subscriber has and can change at will.
 * All that is none counts as one.
 */
export function addressOf (ip: string | undefined): string {
  if (ip === undefined) return unknownAddress
  if (isIPv4(ip)) return ip
  const groups = isIPv6(ip) ? groupsOf(ip) : null
  if (groups === null) return unknownAddress
  return carriers.includes(groups.slice(0, 6).join(':')) ? groups.slice(6).flatMap(bytesOf).join('.') : `${groups.slice(0, 4).join(':')}::/64`
}

/** The eight groups, as WHATWG's URL writes them: lower case, no leading zeros. The zone (`%eth0`) is of this machine, not of the client. */
function groupsOf (ip: string): readonly string[] {
  const { hostname } = new URL(`http://[${ip.split('%', 1)[0]}]`)
  const [head = '', tail] = hostname.slice(1, -1).split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  return [...before, ...Array.from({ length: 8 - before.length - after.length }, () => '0'), ...after]
}

function bytesOf (group: string): readonly number[] {
  const value = parseInt(group, 16)
  return [value >> 8, value & 255]
}
