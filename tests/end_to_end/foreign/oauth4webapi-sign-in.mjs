// oauth4webapi, as an application that only wants to know who its user is (OpenID Connect Core 1.0).

import * as oauth from "oauth4webapi";
import { errorOf, issuer, registration, task, tell, visit } from "./person.mjs";
import { challengeOf, counting, MAX_AGE, seen } from "./signing-in.mjs";

const options = { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: counting };
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
const client = await oauth.processDynamicClientRegistrationResponse(
  await oauth.dynamicClientRegistrationRequest(as, registration, options),
);

const handle = async () => oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const DPoP = task.dpop ? await handle() : undefined;
const jkt = await DPoP?.calculateThumbprint();
const proven = { ...options, DPoP };

// A request that may be answered with a nonce is sent once more with it.
const twice = (request) => async () => {
  try {
    return await request();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return request();
  }
};

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const nonce = oauth.generateRandomNonce();
const target = new URL(as.authorization_endpoint);
target.search = new URLSearchParams({
  client_id: client.client_id,
  redirect_uri: task.redirect_uri,
  response_type: "code",
  scope: task.scope,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
  nonce,
  max_age: String(MAX_AGE),
  ...(jkt && { dpop_jkt: jkt }),
});
const callback = oauth.validateAuthResponse(as, client, await visit(target), state);

let answer;
const redeem = twice(async () => {
  answer = await oauth.authorizationCodeGrantRequest(
    as, client, oauth.None(), callback, task.redirect_uri, verifier, proven,
  );
  return oauth.processAuthorizationCodeResponse(as, client, answer, {
    expectedNonce: nonce,
    maxAge: MAX_AGE,
    requireIdToken: true,
  });
});
const first = await redeem();
await oauth.validateApplicationLevelSignature(as, answer, options);
const claims = oauth.getValidatedIdTokenClaims(first);

const refresh = (token, more) =>
  twice(async () =>
    oauth.processRefreshTokenResponse(
      as, client, await oauth.refreshTokenGrantRequest(as, client, oauth.None(), token, more),
    ),
  )();
const second = await refresh(first.refresh_token, proven);

const userinfo = (more) =>
  twice(async () =>
    oauth.processUserInfoResponse(
      as, client, claims.sub, await oauth.userInfoRequest(as, client, second.access_token, more),
    ),
  )();
const user = await userinfo(proven);

// Without the key, and with another one.
const refused = task.dpop && {
  as_bearer: await challengeOf(userinfo(options)),
  with_another_key: await errorOf(refresh(second.refresh_token, { ...options, DPoP: await handle() })),
};

tell(seen({ metadata: as, first, second, claims, user, jkt, ...refused }));
