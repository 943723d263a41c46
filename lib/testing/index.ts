export {
  fakeIssuer, type FakeIssuer, type FakeIssuerOptions, type IssuerFailure, type TokenOptions
} from './fake-issuer.js'
export type { BadTokenName } from './bad-tokens.js'
export type { IssuerAlgorithm } from './signing-key.js'
