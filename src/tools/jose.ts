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

/** The public half of a P-256 key to which secrets are sealed (RFC 7517). */
export type PublicJwk = {readonly kty: string; readonly crv: string; readonly x: string; readonly y: string}
/** A key to which secrets are sealed; the private part as JSON. */
export type SealingKey = {readonly publicKey: PublicJwk; readonly privateKey: Secret}

const agreement = 'ECDH-ES'

const publicPart = ({kty = '', crv = '', x = '', y = ''}: Partial<PublicJwk>): PublicJwk => ({kty, crv, x, y})

export const newSealingKey = async (): Promise<SealingKey> => {
  const {exportJWK, generateKeyPair} = await import('jose')
  const {privateKey} = await generateKeyPair(agreement, {crv: 'P-256', extractable: true})
  const jwk = await exportJWK(privateKey)
  return {publicKey: publicPart(jwk), privateKey: new Secret(JSON.stringify(jwk))}
}

/** The public part of a private key. */
export const publicKeyOf = (privateKey: Secret): PublicJwk => publicPart(JSON.parse(privateKey.reveal()) as Partial<PublicJwk>)

/** What only the holder of the private key can open (JWE, ECDH-ES with A256GCM). */
export const sealedTo = async (publicKey: PublicJwk, content: string): Promise<string> => {
  const {CompactEncrypt, importJWK} = await import('jose')
  return new CompactEncrypt(new TextEncoder().encode(content))
    .setProtectedHeader({alg: agreement, enc: 'A256GCM'})
    .encrypt(await importJWK({...publicKey}, agreement))
}

/** Undefined where it was sealed to another key, or changed on its way. */
export const unsealed = async (privateKey: Secret, sealed: string): Promise<Secret | undefined> => {
  const {compactDecrypt, importJWK} = await import('jose')
  try {
    const {plaintext} = await compactDecrypt(sealed, await importJWK(JSON.parse(privateKey.reveal()) as object, agreement))
    return new Secret(new TextDecoder().decode(plaintext))
  } catch {
    return undefined
  }
}

/** The key's name for itself (RFC 7638). */
export const thumbprintOf = async (publicKey: PublicJwk): Promise<string> => {
  const {calculateJwkThumbprint} = await import('jose')
  return calculateJwkThumbprint({...publicKey})
}
