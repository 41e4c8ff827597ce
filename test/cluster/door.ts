import tls from 'node:tls'

/** What the gateway answers to a client, and whom it says it is: `open` when the connection still stands after half a second. */
export type Answer = {readonly verdict: string; readonly serial?: string; readonly names?: string}

/** The alerts of TLS 1.3 (RFC 8446 section 6.2) for a certificate that is missing or not trusted. */
export const refused = /unknown ca|bad certificate|certificate required|closed/

/** A handshake with the gateway, as the agents have it. */
export const knock = (endpoint: string, options: tls.ConnectionOptions): Promise<Answer> =>
  new Promise((resolve) => {
    const [host = '', port] = endpoint.split(':')
    let seen: Omit<Answer, 'verdict'> = {}
    const socket = tls.connect({host, port: Number(port), ALPNProtocols: ['h2'], timeout: 5000, ...options})
    const end = (verdict: string) => {
      resolve({verdict, ...seen})
      socket.destroy()
    }
    socket.on('secureConnect', () => {
      const {serialNumber, subjectaltname} = socket.getPeerCertificate()
      seen = {serial: serialNumber, ...(subjectaltname !== undefined && {names: subjectaltname})}
      setTimeout(() => end('open'), 500)
    })
    socket.on('timeout', () => end('no answer'))
    socket.on('error', (error) => end(error.message))
    // a server that wants no more of it may just hang up
    socket.on('close', () => end('closed'))
    socket.resume()
  })

/** The serials that a number of handshakes see: a balancer leads to any of the gateways. */
export const serials = async (endpoint: string, ca: string, handshakes = 12): Promise<ReadonlySet<string>> => {
  const answers = await Promise.all(Array.from({length: handshakes}, () => knock(endpoint, {ca})))
  return new Set(answers.flatMap(({serial}) => (serial === undefined ? [] : [serial])))
}
