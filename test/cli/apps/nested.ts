const application = {
  __esModule: true, default: () => (globalThis as unknown as { audited (): Promise<object> }).audited()
}

// What a CommonJS module that a compiler wrote is to Node: its default export is one level deeper. It is nested twice,
// because tsx, which runs the tests, unwraps one level itself.
export default { __esModule: true, default: application }
