/** Certificates for tests, made by openssl: an authority, and a server's and a client's that it signed. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { join } from 'node:path';

export function haveOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version']);
    return true;
  } catch {
    return false;
  }
}

/** Fills the new folder `dir` with the files that -object tls-creds-x509 wants. */
export function makeCertificates(dir: string): void {
  fs.mkdirSync(dir);
  const openssl = (line: string): void => {
    execFileSync('openssl', line.split(' '), { cwd: dir, stdio: 'ignore' });
  };
  const key = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';
  const use = 'keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n';
  fs.writeFileSync(join(dir, 'ext'), `subjectAltName=DNS:localhost,IP:127.0.0.1\n${use}`);
  const authority = '-addext keyUsage=critical,keyCertSign';
  openssl(`req -x509 ${key} -keyout ca-key.pem -out ca-cert.pem -subj /CN=test -days 9 ${authority}`);
  for (const name of ['server', 'client']) {
    openssl(`req ${key} -keyout ${name}-key.pem -out ${name}.csr -subj /CN=${name}`);
    const ca = '-CA ca-cert.pem -CAkey ca-key.pem -CAcreateserial';
    openssl(`x509 -req -in ${name}.csr ${ca} -out ${name}-cert.pem -days 9 -extfile ext`);
  }
}
