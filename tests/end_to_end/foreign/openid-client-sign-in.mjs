// openid-client, as an application that only wants to know who its user is (OpenID Connect Core 1.0).

import * as client from "openid-client";
import { errorOf, issuer, registration, task, tell, visit } from "./person.mjs";
import { challengeOf, counting, MAX_AGE, seen } from "./signing-in.mjs";

const config = await client.dynamicClientRegistration(issuer, registration, client.None(), {
  execute: [client.allowInsecureRequests],
  [client.customFetch]: counting,
});
client.enableNonRepudiationChecks(config); // the signature, which it would otherwise leave to TLS

const handle = async () => client.getDPoPHandle(config, await client.randomDPoPKeyPair("ES256"));
const DPoP = task.dpop ? await handle() : undefined;
const jkt = await DPoP?.calculateThumbprint();

const verifier = client.randomPKCECodeVerifier();
const checks = { expectedState: client.randomState(), expectedNonce: client.randomNonce(), maxAge: MAX_AGE };
const target = client.buildAuthorizationUrl(config, {
  redirect_uri: task.redirect_uri,
  scope: task.scope,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state: checks.expectedState,
  nonce: checks.expectedNonce,
  max_age: String(MAX_AGE),
  ...(jkt && { dpop_jkt: jkt }),
});
const first = await client.authorizationCodeGrant(
  config,
  await visit(target),
  { pkceCodeVerifier: verifier, idTokenExpected: true, ...checks },
  undefined,
  { DPoP },
);
const claims = first.claims();
const second = await client.refreshTokenGrant(config, first.refresh_token, undefined, { DPoP });
const user = await client.fetchUserInfo(config, second.access_token, claims.sub, { DPoP });

// Without the key, and with another one.
const refused = task.dpop && {
  as_bearer: await challengeOf(client.fetchUserInfo(config, second.access_token, claims.sub)),
  with_another_key: await errorOf(
    client.refreshTokenGrant(config, second.refresh_token, undefined, { DPoP: await handle() }),
  ),
};

tell(seen({ metadata: config.serverMetadata(), first, second, claims, user, jkt, ...refused }));
