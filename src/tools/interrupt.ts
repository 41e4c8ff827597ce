/** Whether the command was asked to end; asked twice, it ends at once. Whoever uses this answers for what is left then. */
export const interruptible = (): AbortSignal => {
  const asked = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.removeAllListeners(signal)
    process.on(signal, () => {
      if (asked.signal.aborted) process.exit(130)
      asked.abort()
    })
  }
  return asked.signal
}
