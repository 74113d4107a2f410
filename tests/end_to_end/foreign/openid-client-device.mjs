// openid-client as a program on a device without a browser (RFC 8628): it shows a code, and polls.

import * as client from "openid-client";
import { deviceRegistration, errorOf, issuer, task, tell } from "./person.mjs";

const options = { execute: [client.allowInsecureRequests] };
const config = task.client_id
  ? await client.discovery(
      issuer,
      task.client_id,
      undefined,
      task.client_secret ? client.ClientSecretBasic(task.client_secret) : client.None(),
      options,
    )
  : await client.dynamicClientRegistration(issuer, deviceRegistration, client.None(), options);

const begun = await client.initiateDeviceAuthorization(config, { scope: task.scope, resource: task.resource });
tell({ device: begun.verification_uri_complete, done: `${begun.verification_uri}/allowed` });
const first = await client.pollDeviceAuthorizationGrant(config, begun);
const claims = JSON.parse(Buffer.from(first.access_token.split(".")[1], "base64url"));
const second = await client.refreshTokenGrant(config, first.refresh_token, { resource: task.resource });

tell({
  scope: first.scope,
  audience: claims.aud,
  client_is_named: claims.client_id === config.clientMetadata().client_id,
  refreshed_scope: second.scope,
  used_again: await errorOf(client.pollDeviceAuthorizationGrant(config, begun)),
});
