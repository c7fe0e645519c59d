// An OpenID provider for tests: PORT PORTAL_ADDRESS. `PUT /people/ID` with JSON changes a person.
import http from "node:http";
import { Provider } from "oidc-provider";

const [port, portal] = process.argv.slice(2);
const issuer = `http://localhost:${port}`;
const people = new Map();

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "portal",
      client_secret: "a-secret-of-the-portal-for-tests",
      redirect_uris: [`${portal}/login/company/callback/`],
      post_logout_redirect_uris: [`${portal}/login/`],
      grant_types: ["authorization_code", "refresh_token"],
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "offline_access", "email", "groups"],
  cookies: { keys: ["cookies of a provider for tests"] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  pkce: { required: () => true },
  findAccount: (_context, id) => {
    const person = people.get(id);
    return person && { accountId: id, claims: () => ({ sub: id, ...person }) };
  },
});
const serve = provider.callback();

http
  .createServer((request, response) => {
    const [, id] = request.url.match(/^\/people\/([a-z]+)$/) ?? [];
    if (!id || request.method !== "PUT") {
      serve(request, response);
      return;
    }
    let body = "";
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => {
      const person = JSON.parse(body);
      person ? people.set(id, person) : people.delete(id);
      response.end();
    });
  })
  .listen(Number(port), "127.0.0.1", () => console.log(issuer));
