export {
  fakeIssuer, type FakeIssuer, type FakeIssuerOptions, type IssuerFailure, type TokenOptions
} from './fake-issuer.js'
export { injectAs, type InjectAsOptions, type InjectedAs } from './inject-as.js'
export type { TestedApp } from './inject-as.js'
export {
  schemeContract, type SchemeContract, type SentCredential, type SentCredentials
} from './scheme-contract.js'
export { testAccess, type AccessReport, type TestAccessOptions } from './test-access.js'
export type { IssuerAlgorithm } from './tokens.js'
