import {isIP} from 'node:net'
import tls from 'node:tls'

/** What servers show in a TLS handshake. */
export type Tls = {
  /**
   * The certificate that is shown at `host:port` and the chain that follows it (PEM), whoever signed them and whether or not
   * they have ended. Throws with the reason where none is shown.
   */
  served(address: string): Promise<string>
}

const handshakeMs = 5000

export const createTls = (): Tls => ({
  served: (address) =>
    new Promise((resolve, reject) => {
      const at = address.lastIndexOf(':')
      const host = address.slice(0, at).replace(/^\[|\]$/g, '')
      // what is shown is looked at, and nothing is sent: whom to trust is no question here
      const socket = tls.connect({
        host,
        port: Number(address.slice(at + 1)),
        rejectUnauthorized: false,
        ALPNProtocols: ['h2', 'http/1.1'],
        ...(isIP(host) === 0 && {servername: host}),
      })
      const end = (work: () => void) => {
        clearTimeout(timer)
        work()
        socket.destroy()
      }
      const timer = setTimeout(() => end(() => reject(new Error(`no answer within ${handshakeMs / 1000} s`))), handshakeMs)
      // with TLS 1.3 that is before the server asks who we are
      socket.once('secureConnect', () => end(() => resolve(chainOf(socket))))
      socket.once('close', () => end(() => reject(new Error('the connection ended before a certificate was shown'))))
      socket.once('error', (error) => end(() => reject(error)))
    }),
})

const chainOf = (socket: tls.TLSSocket): string => {
  const shown: string[] = []
  for (let each = socket.getPeerX509Certificate(); each && !shown.includes(each.toString()); each = each.issuerCertificate)
    shown.push(each.toString())
  return shown.join('')
}
