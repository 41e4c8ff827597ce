import type {Signal} from '../../src/collector/config.ts'

/** Posts protocol buffers to an OTLP/HTTP receiver. Status 0 when nobody answers. */
export const postOtlp = async (
  base: string,
  signal: Signal,
  body: Uint8Array,
): Promise<{readonly status: number; readonly message: string}> => {
  try {
    const answer = await fetch(`${base}/v1/${signal}`, {
      method: 'POST',
      headers: {'content-type': 'application/x-protobuf'},
      body,
      signal: AbortSignal.timeout(60_000),
    })
    const text = Buffer.from(await answer.arrayBuffer()).toString('latin1')
    // a Status message: its code, then what it says
    return {
      status: answer.status,
      message: `${answer.status} ${text
        .replaceAll(/[^ -~]+/g, ' ')
        .trim()
        .slice(0, 300)}`,
    }
  } catch (error) {
    return {status: 0, message: String((error as Error).cause ?? error)}
  }
}
