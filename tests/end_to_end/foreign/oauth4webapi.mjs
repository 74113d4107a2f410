// oauth4webapi: checks every member of every answer, and the access token as a resource server would (RFC 9068).

import * as oauth from "oauth4webapi";
import { errorOf, issuer, registration, task, tell, visit } from "./person.mjs";

const loopback = { [oauth.allowInsecureRequests]: true };
const asResource = { ...loopback, additionalParameters: { resource: task.resource } };

const as = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...loopback }),
);

const client = task.client_id
  ? { client_id: task.client_id }
  : await oauth.processDynamicClientRegistrationResponse(
      await oauth.dynamicClientRegistrationRequest(as, registration, loopback),
    );
const authentication = task.client_secret ? oauth.ClientSecretBasic(task.client_secret) : oauth.None();

const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const request = new URLSearchParams({
  client_id: client.client_id,
  redirect_uri: task.redirect_uri,
  response_type: "code",
  scope: task.scope,
  resource: task.resource,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
});
const push = async () => {
  const answer = await oauth.pushedAuthorizationRequest(as, client, authentication, request, loopback);
  const { request_uri } = await oauth.processPushedAuthorizationResponse(as, client, answer);
  return new URLSearchParams({ client_id: client.client_id, request_uri });
};
const target = new URL(as.authorization_endpoint);
target.search = task.push ? await push() : request;
const callback = oauth.validateAuthResponse(as, client, await visit(target), state);
const first = await oauth.processAuthorizationCodeResponse(
  as,
  client,
  await oauth.authorizationCodeGrantRequest(
    as, client, authentication, callback, task.redirect_uri, verifier, asResource,
  ),
);

const call = new Request(task.resource, { headers: { authorization: `Bearer ${first.access_token}` } });
const claims = await oauth.validateJwtAccessToken(as, call, task.resource, loopback);

const refresh = async (token) =>
  oauth.processRefreshTokenResponse(
    as, client, await oauth.refreshTokenGrantRequest(as, client, authentication, token, asResource),
  );
const second = await refresh(first.refresh_token);

const introspect = async (token) =>
  oauth.processIntrospectionResponse(
    as, client, await oauth.introspectionRequest(as, client, authentication, token, loopback),
  );
const before = task.client_secret ? await introspect(second.access_token) : null;

await oauth.processRevocationResponse(
  await oauth.revocationRequest(as, client, authentication, second.refresh_token, loopback),
);

tell({
  scope: first.scope,
  audience: claims.aud,
  client_is_named: claims.client_id === client.client_id,
  refreshed_scope: second.scope,
  rotated: second.refresh_token !== first.refresh_token && second.access_token !== first.access_token,
  refresh_after_revocation: await errorOf(refresh(second.refresh_token)),
  active: before && [before.active, (await introspect(second.access_token)).active],
});
