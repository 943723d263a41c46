import { Cluster } from 'ioredis'
import t from 'tap'
import { redisStore } from '../../lib/stores/redis/index.js'
import { passesStoreContract } from './contract.js'
import { noRedisServer, redisCluster } from './fixtures/outages.js'

const skip = await noRedisServer()

if (skip !== false) {
  t.plan(0, skip)
} else {
  const { nodes, end } = await redisCluster()
  const client = new Cluster(
    nodes.map(({ port }) => ({ host: '127.0.0.1', port })), { lazyConnect: true, keyPrefix: 'app:' }
  )
  t.teardown(async () => {
    client.disconnect()
    await end()
  })
  passesStoreContract(t, { make: () => redisStore({ client }), another: () => redisStore({ client }), rounds: 20 })
}
