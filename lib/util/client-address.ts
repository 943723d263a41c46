import { isIPv4, isIPv6 } from 'node:net'

/** The prefixes of IPv4 addresses within IPv6: mapped (RFC 4291, 2.5.5.2) and translated (RFC 6052, 2.1). */
const ipv4Prefixes = ['0:0:0:0:0:ffff', '64:ff9b:0:0:0:0']

/** The result for anything that is not an IP address, such as a Unix socket or an unusual form that a proxy writes. */
export const unknownAddress = 'unknown'

/**
 * Returns the key under which the requests of a client are counted: the IPv4 address, or the /64 network of an IPv6
 * address, within which one subscriber can change the address at will. All spellings of an address have the same key.
 * Returns {@link unknownAddress} for anything else.
 */
export function addressOf (ip: string | undefined): string {
  if (ip === undefined) return unknownAddress
  if (isIPv4(ip)) return ip
  const groups = isIPv6(ip) ? groupsOf(ip) : null
  if (groups === null) return unknownAddress
  return ipv4Prefixes.includes(groups.slice(0, 6).join(':'))
    ? groups.slice(6).flatMap(bytesOf).join('.')
    : `${groups.slice(0, 4).join(':')}::/64`
}

/**
 * Returns the eight groups of an IPv6 address in lower case and without leading zeros, as `URL` normalises them. The
 * zone (`%eth0`) is removed, because it belongs to this machine and not to the client.
 */
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
