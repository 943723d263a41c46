const application = {
  __esModule: true, default: () => (globalThis as unknown as { audited (): Promise<object> }).audited()
}

// Node sees the default export of compiled CommonJS one level deeper. It is nested twice, because tsx, which runs the
// tests, unwraps one level itself.
export default { __esModule: true, default: application }
