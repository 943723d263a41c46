import type { AddressInfo } from 'node:net'
import { cases } from './contestants.js'

/**
 * One contestant in a process of its own: tells its port and headers, then the CPU time it has used whenever it is
 * asked.
 */
const contestant = await cases[Number(process.argv[2])]?.make()
if (contestant === undefined) throw new Error(`no case ${process.argv[2]}`)
const { app, headers, status } = contestant
await app.listen({ port: 0, host: '127.0.0.1' })
process.on('message', () => {
  const { user, system } = process.cpuUsage()
  process.send?.({ cpu: user + system })
})
process.send?.({ port: (app.server.address() as AddressInfo).port, headers, status })
