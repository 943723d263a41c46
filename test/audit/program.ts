import { build, route } from '../fixtures/policies.js'

/** Prints the policies of an application as JSON, so that a test can compare the bytes of two processes. */
const isOwner = () => true
const rules = { region: () => 'a', isClerk (this: void) { return true } }

const app = await build(app => {
  route(app, [], '/named', { when: isOwner })
  route(app, [], '/method', { scopes: rules.region, when: rules.isClerk })
  route(app, [], '/anonymous', { when: () => true, roles: () => 'a' })
  route(app, [], '/entries', { anyOf: [{ when: isOwner }, { schemes: 'user', roles: { any: ['clerk', 'admin'] } }] })
  route(app, [], '/open', { public: 'the probe' })
})
await app.ready()
console.log(JSON.stringify(app.gatehouse.audit().map(({ file, ...row }) => row)))
await app.close()
