// A small OpenID Connect provider: whoever it is told to be next signs in at once.
// The code must be redeemed with the PKCE verifier of the challenge it was given for.
import { createHash, createSign, generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer, type Server, type ServerResponse } from "node:http";

export interface Provider {
  /** The claims of who signs in next; undefined: they say no. */
  next: Record<string, unknown> | undefined;
  close(): Promise<void>;
}

const part = (v: unknown): string => Buffer.from(JSON.stringify(v)).toString("base64url");

/** Starts it at an address that the server was told as web.oidc.issuer. */
export async function startProvider(issuer: string): Promise<Provider> {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const provider: Provider = { next: undefined, close: () => new Promise((resolve) => server.close(() => resolve())) };
  const codes = new Map<string, { challenge: string; nonce: string; claims: Record<string, unknown> }>();
  const json = (w: ServerResponse, status: number, v: unknown): void => {
    w.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(v));
  };
  const server: Server = createServer((r, w) => {
    const url = new URL(r.url ?? "/", issuer);
    if (url.pathname === "/.well-known/openid-configuration") {
      json(w, 200, { issuer, authorization_endpoint: issuer + "/authorize", token_endpoint: issuer + "/token", jwks_uri: issuer + "/keys", id_token_signing_alg_values_supported: ["RS256"] });
    } else if (url.pathname === "/keys") {
      json(w, 200, { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k", alg: "RS256", use: "sig" }] });
    } else if (url.pathname === "/authorize") {
      const back = new URL(url.searchParams.get("redirect_uri") ?? "");
      back.searchParams.set("state", url.searchParams.get("state") ?? "");
      if (provider.next) {
        const code = randomUUID();
        codes.set(code, { challenge: url.searchParams.get("code_challenge") ?? "", nonce: url.searchParams.get("nonce") ?? "", claims: provider.next });
        back.searchParams.set("code", code);
      } else {
        back.searchParams.set("error", "access_denied");
      }
      w.writeHead(302, { Location: back.href }).end();
    } else if (url.pathname === "/token" && r.method === "POST") {
      let body = "";
      r.on("data", (chunk: Buffer) => (body += chunk.toString()));
      r.on("end", () => {
        const form = new URLSearchParams(body);
        const code = codes.get(form.get("code") ?? "");
        codes.delete(form.get("code") ?? "");
        if (!code || createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url") !== code.challenge) {
          json(w, 400, { error: "invalid_grant" });
          return;
        }
        const now = Math.floor(Date.now() / 1000);
        const signed = part({ alg: "RS256", kid: "k" }) + "." + part({ iss: issuer, aud: "hoptrace", iat: now, exp: now + 60, nonce: code.nonce, ...code.claims });
        json(w, 200, { access_token: "a", token_type: "Bearer", id_token: signed + "." + createSign("RSA-SHA256").update(signed).sign(privateKey, "base64url") });
      });
    } else {
      w.writeHead(404).end();
    }
  });
  const { hostname, port } = new URL(issuer);
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(Number(port), hostname, resolve));
  return provider;
}
