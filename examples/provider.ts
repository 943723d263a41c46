import Provider from 'oidc-provider'

/*
 * An OpenID provider to try logins with, in memory: npm run provider, and then LOGIN_ISSUER=http://localhost:4100
 * npm start. Any password is right: log in as ada, ben or cleo.
 */

const port = Number(process.env['PROVIDER_PORT'] ?? 4100)
const issuer = `http://localhost:${port}`
const application = process.env['PUBLIC_URL'] ?? 'http://localhost:3000'

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'order-desk',
    token_endpoint_auth_method: 'none',
    redirect_uris: [`${application}/login/provider/callback`],
    post_logout_redirect_uris: [`${application}/`]
  }]
})

provider.listen(port, 'localhost', () => {
  process.stdout.write(`An OpenID provider listens. Start the application with LOGIN_ISSUER=${issuer}\n`)
})
