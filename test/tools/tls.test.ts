import {once} from 'node:events'
import {createServer, type AddressInfo, type Server} from 'node:net'
import tls from 'node:tls'
import {expect, onTestFinished, test, vi} from 'vitest'
import {createTls} from '../../src/tools/tls.ts'
import {certificatesIn, createX509, type KeyPair, readCertificate} from '../../src/tools/x509.ts'

const x509 = createX509()
const {served} = createTls()

const listening = async (server: Server): Promise<string> => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
const issued = async (days: number): Promise<{readonly ca: KeyPair; readonly own: KeyPair}> => {
  const ca = await x509.createCa({commonName: 'some issuer', days: 10, pathLength: 0})
  return {ca, own: await x509.issueServer(ca, {commonName: 'it', names: ['localhost'], days})}
}
/** As the gateway: TLS 1.3, and only for clients with a certificate. */
const gateway = ({ca, own}: Awaited<ReturnType<typeof issued>>) =>
  tls.createServer({
    cert: own.certificate + ca.certificate,
    key: own.key.reveal(),
    ca: ca.certificate,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
  })

test('certificate and chain of a server that asks for a certificate, which nobody has', async () => {
  const pair = await issued(1)
  const seen = certificatesIn(await served(await listening(gateway(pair))))
  expect(seen.map((one) => one?.fingerprint256)).toEqual(
    [pair.own, pair.ca].map(({certificate}) => readCertificate(certificate)?.fingerprint256),
  )
})

test('one that has ended is shown all the same', async () => {
  vi.useFakeTimers({toFake: ['Date'], now: Date.now() - 5 * 86_400_000})
  const pair = await issued(1)
  vi.useRealTimers()
  const [seen] = certificatesIn(await served(await listening(gateway(pair))))
  expect(Date.parse(seen?.validTo ?? '')).toBeLessThan(Date.now())
})

test('who does not listen, or speaks no TLS, is a reason', async () => {
  const closed = createServer()
  const address = await listening(closed)
  closed.close()
  await expect(served(address)).rejects.toThrow(`connect ECONNREFUSED ${address}`)
  const hangsUp = await listening(createServer((socket) => socket.end()))
  await expect(served(hangsUp)).rejects.toThrow(/ended before|disconnected before|ECONNRESET/)
  const plain = await listening(createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')))
  await expect(served(plain)).rejects.toThrow(/wrong version number|packet length|ECONNRESET|ended before/)
})

test('who takes the connection and says nothing is given up', async () => {
  const address = await listening(createServer((socket) => void socket.on('error', () => undefined)))
  await expect(served(address)).rejects.toThrow('no answer within 5 s')
})
