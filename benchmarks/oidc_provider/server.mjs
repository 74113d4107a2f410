// oidc-provider, set up to do what our server is asked to do, with its state in memory: its best case.
//
//   node server.mjs PORT CLIENT_ID CLIENT_SECRET REDIRECT_URI RESOURCE OPAQUE_RESOURCE SCOPE
//
// Its development pages sign anybody in who types a name.

import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const [port, clientId, clientSecret, redirectUri, resource, opaqueResource, scope] = process.argv.slice(2);

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const jwt = { accessTokenFormat: "jwt", jwt: { sign: { alg: "ES256" } } };
const servers = {
  [resource]: { scope, audience: resource, accessTokenTTL: 600, ...jwt },
  // It introspects opaque tokens only.
  [opaqueResource]: { scope, audience: opaqueResource, accessTokenTTL: 600, accessTokenFormat: "opaque" },
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", alg: "ES256" }] },
  clients: [
    {
      client_id: clientId,
      client_secret: clientSecret,
      redirect_uris: [redirectUri],
      grant_types: ["authorization_code", "refresh_token", "client_credentials"],
      token_endpoint_auth_method: "client_secret_basic",
      // Its only key; without openid there is no ID token.
      id_token_signed_response_alg: "ES256",
    },
  ],
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: { enabled: true, getResourceServerInfo: (ctx, indicator) => servers[indicator] },
  },
  // Every refresh gives a new refresh token, as ours does; by default only late in the old one's life.
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
  expiresWithSession: () => false,
  pkce: { required: () => true },
});

provider.on("server_error", (ctx, error) => console.error(error));
provider.listen(Number(port), "127.0.0.1");
