// A plugin with options for its server, as `fastify start --options` reads them. The test provides what it does.
module.exports = async (app, options) => globalThis.audited(app, options)
module.exports.options = { trustProxy: true }
