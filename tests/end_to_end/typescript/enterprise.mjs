// The TypeScript client of generation 2 exchanges an ID token for an ID-JAG, and that for an access token.
//
//   node enterprise.mjs '{"url": ..., "issuer": ..., "idp": ..., "idToken": ..., "clientId": ..., "clientSecret": ...}'

import {
  Client,
  CrossAppAccessProvider,
  StreamableHTTPClientTransport,
  requestJwtAuthorizationGrant,
} from "@modelcontextprotocol/client";

const { url, issuer, idp, idToken, clientId, clientSecret } = JSON.parse(process.argv[2]);

const authProvider = new CrossAppAccessProvider({
  clientId,
  clientSecret,
  expectedIssuer: issuer,
  assertion: async ({ authorizationServerUrl, resourceUrl, scope }) => {
    const { jwtAuthGrant } = await requestJwtAuthorizationGrant({
      tokenEndpoint: idp,
      audience: authorizationServerUrl,
      resource: resourceUrl,
      idToken,
      clientId: "at-the-provider",
      scope,
    });
    return jwtAuthGrant;
  },
});
const client = new Client({ name: "enterprise", version: "1.0.0" }, { versionNegotiation: { mode: "auto" } });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider }));
const read = await client.callTool({ name: "list_notes", arguments: {} });
process.stdout.write(`${JSON.stringify({ called: "list_notes", failed: read.isError ?? false })}\n`);
await client.close();
process.exit(0);
