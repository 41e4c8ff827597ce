const everyMs = 10_000

/** A line that says how it goes: one that changes where there is a terminal, otherwise another now and then. */
export const progressOn = (stream: NodeJS.WriteStream) => {
  const isLive = stream.isTTY && process.env['CI'] === undefined
  let saidMs = 0
  return {
    tell(line: string) {
      if (isLive) stream.write(`\r\u001B[2K${line.slice(0, Math.max(20, stream.columns - 1))}`)
      else if (Date.now() - saidMs >= everyMs) {
        saidMs = Date.now()
        stream.write(`${new Date().toTimeString().slice(0, 8)}  ${line}\n`)
      }
    },
    end() {
      if (isLive) stream.write('\r\u001B[2K')
    },
  }
}
