/** An issuer of tokens: its key, and a deployment's configuration for it. */
import { generateKeyPairSync, randomUUID, sign } from "node:crypto";

export class Issuer {
  private readonly keys = generateKeyPairSync("ec", { namedCurve: "P-256" });

  constructor(
    readonly url: string,
    readonly audience: string,
  ) {}

  /** A provider in the file that the deployment's `--auth` names. */
  provider(): object {
    const key = this.keys.publicKey.export({ format: "jwk" });
    return {
      domain: this.url,
      applicationID: this.audience,
      jwks: { keys: [{ ...key, kid: "key", alg: "ES256", use: "sig" }] },
    };
  }

  /** A token for a user, as an OpenID Connect provider signs it; never twice the same. */
  token(subject: string, options: { lives?: number; claims?: object } = {}): string {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: this.url,
      aud: this.audience,
      sub: subject,
      iat: now,
      exp: now + (options.lives ?? 3600),
      jti: randomUUID(),
      ...options.claims,
    };
    const header = { alg: "ES256", typ: "JWT", kid: "key" };
    const content = `${encoded(header)}.${encoded(claims)}`;
    const signature = sign("sha256", Buffer.from(content), {
      key: this.keys.privateKey,
      dsaEncoding: "ieee-p1363",
    });
    return `${content}.${signature.toString("base64url")}`;
  }
}

function encoded(content: object): string {
  return Buffer.from(JSON.stringify(content)).toString("base64url");
}
