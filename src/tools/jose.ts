import {Secret} from '../secret.ts'

/** The public half of a key, as a JWK Set has it. */
export type PublicKey = {readonly kid: string} & {readonly [member: string]: unknown}

/** What a token says of itself. */
export type Claims = {readonly issuer: string; readonly audience: string; readonly subject: string}
export type ReadToken = Partial<Claims> & {readonly kid?: string; readonly expiresMs: number}

const algorithm = 'ES256'

/** A token (JWT) signed by a key of its own, whose private half cannot leave this process and is kept nowhere in it. */
export const signedOnce = async (
  {issuer, audience, subject}: Claims,
  days: number,
): Promise<{readonly token: Secret; readonly publicKey: PublicKey}> => {
  const jose = await import('jose')
  const {publicKey, privateKey} = await jose.generateKeyPair(algorithm)
  const jwk = await jose.exportJWK(publicKey)
  const kid = await jose.calculateJwkThumbprint(jwk)
  const token = await new jose.SignJWT()
    .setProtectedHeader({alg: algorithm, kid, typ: 'JWT'})
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(subject)
    .setIssuedAt()
    .setExpirationTime(`${days}d`)
    .sign(privateKey)
  return {token: new Secret(token), publicKey: {...jwk, kid, alg: algorithm, use: 'sig'}}
}

/** What a token says, whoever signed it; undefined where it is none. */
export const readToken = async (token: string): Promise<ReadToken | undefined> => {
  const jose = await import('jose')
  try {
    const {kid} = jose.decodeProtectedHeader(token)
    const {iss, aud, sub, exp = 0} = jose.decodeJwt(token)
    return {
      ...(kid !== undefined && {kid}),
      ...(iss !== undefined && {issuer: iss}),
      ...(typeof aud === 'string' && {audience: aud}),
      ...(sub !== undefined && {subject: sub}),
      expiresMs: exp * 1000,
    }
  } catch {
    return undefined
  }
}
