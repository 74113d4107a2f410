// openid-client: looks for the metadata where OpenID Connect Discovery 1.0 puts it, which is its default.

import * as client from "openid-client";
import { errorOf, issuer, registration, task, tell, visit } from "./person.mjs";

const options = { execute: [client.allowInsecureRequests] };
const config = task.client_id
  ? await client.discovery(
      issuer,
      task.client_id,
      undefined,
      task.client_secret ? client.ClientSecretPost(task.client_secret) : client.None(),
      options,
    )
  : await client.dynamicClientRegistration(issuer, registration, client.None(), options);

const verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const request = {
  redirect_uri: task.redirect_uri,
  scope: task.scope,
  resource: task.resource,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
};
const target = task.push
  ? await client.buildAuthorizationUrlWithPAR(config, request)
  : client.buildAuthorizationUrl(config, request);
const first = await client.authorizationCodeGrant(
  config,
  await visit(target),
  { pkceCodeVerifier: verifier, expectedState: state },
  { resource: task.resource },
);
const claims = JSON.parse(Buffer.from(first.access_token.split(".")[1], "base64url"));

const refresh = (token) => client.refreshTokenGrant(config, token, { resource: task.resource });
const second = await refresh(first.refresh_token);

const introspect = (token) => client.tokenIntrospection(config, token);
const before = task.client_secret ? await introspect(second.access_token) : null;

await client.tokenRevocation(config, second.refresh_token);

tell({
  scope: first.scope,
  audience: claims.aud,
  client_is_named: claims.client_id === config.clientMetadata().client_id,
  refreshed_scope: second.scope,
  rotated: second.refresh_token !== first.refresh_token && second.access_token !== first.access_token,
  refresh_after_revocation: await errorOf(refresh(second.refresh_token)),
  active: before && [before.active, (await introspect(second.access_token)).active],
});
