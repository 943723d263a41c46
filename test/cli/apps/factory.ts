// The command line loads this file, and the test provides the application.
export default async () => await (globalThis as unknown as { audited (): Promise<object> }).audited()
