import {type Code, LkeobsError} from '../errors.ts'
import type {Fault} from '../tools/wire.ts'

const codes: Readonly<Record<Fault['fault'], Code>> = {
  refused: 'LKO-7101',
  unknown: 'LKO-7102',
  silent: 'LKO-7103',
  untrusted: 'LKO-7104',
  misnamed: 'LKO-7105',
  expired: 'LKO-7105',
  unencrypted: 'LKO-7106',
  encrypted: 'LKO-7106',
  client: 'LKO-7107',
  broken: 'LKO-7103',
}

/** Who was asked, as a person is told. */
export type Asked = {readonly kind: string; readonly name: string; readonly at: string}

const again = ({kind, name}: Asked, flags: string) => `lkeobs dest add ${kind} ${name} ${flags}`

const nextOf = (asked: Asked, {fault}: Fault): readonly string[] => {
  const {hostname, port, protocol} = new URL(asked.at)
  const where = `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`
  if (fault === 'untrusted' || fault === 'misnamed' || fault === 'expired')
    return [`openssl s_client -connect ${where} -showcerts </dev/null`, again(asked, '--ca-file FILE')]
  if (fault === 'client') return [again(asked, '--client-certificate --cert-file FILE --key-file FILE')]
  if (fault === 'unencrypted') return [again(asked, `--endpoint ${asked.at.replace('https:', 'http:')}`)]
  if (fault === 'encrypted') return [again(asked, `--endpoint ${asked.at.replace('http:', 'https:')}`)]
  return [`nc -vz ${hostname} ${where.slice(where.lastIndexOf(':') + 1)}`]
}

/** There was no answer. */
export const unanswered = (asked: Asked, fault: Fault): LkeobsError => {
  const said =
    fault.fault === 'encrypted'
      ? `it wants TLS, or speaks another protocol (${fault.why})`
      : fault.fault === 'unencrypted'
        ? `it speaks no TLS (${fault.why})`
        : fault.why
  return new LkeobsError(codes[fault.fault], `${asked.at}: ${said}. Nothing was changed.`, {next: nextOf(asked, fault)})
}

/** There was one, and it is a no. */
export const refused = (code: Code, asked: Asked, said: string, flags: string): LkeobsError =>
  new LkeobsError(code, `${asked.at}: ${said}. Nothing was changed.`, {next: [again(asked, flags)]})

/** The beginning of an answer on one line. */
export const shown = (body: Buffer): string => JSON.stringify(body.toString().replaceAll(/\s+/g, ' ').trim().slice(0, 120))
