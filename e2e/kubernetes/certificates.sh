# Sourced by up.sh: the cluster's certificate authority, a certificate for each of its programs, and their kubeconfig files.
# shellcheck shell=bash

certificates() {
  (
    cd "$STATE"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=barnabas-local-ca \
      -keyout ca.key -out ca.crt 2> openssl.log
    # RSA, as in most clusters: the tokens of service accounts are then signed RS256.
    openssl genrsa -out service-account.key 2048 2>> openssl.log
    openssl rsa -in service-account.key -pubout -out service-account.pub 2>> openssl.log

    certificate apiserver /CN=kube-apiserver \
      "subjectAltName=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1,IP:$CONTROL_PLANE_ADDRESS"
    certificate kubelet-client /O=system:masters/CN=apiserver-kubelet-client
    identity admin /O=system:masters/CN=admin
    identity controller-manager /CN=system:kube-controller-manager
    identity scheduler /CN=system:kube-scheduler
    identity proxy /CN=system:kube-proxy
  )
}

# certificate NAME SUBJECT [EXTENSIONS]. One without any extension would be of version 1, which rustls refuses.
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>> openssl.log
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -out "$1.crt" \
    -extfile <(printf '%s\n' basicConstraints=CA:FALSE extendedKeyUsage=clientAuth,serverAuth "${3:-}") 2>> openssl.log
  rm "$1.csr"
}

# identity NAME SUBJECT: a certificate and the kubeconfig that uses it.
identity() {
  certificate "$1" "$2"
  cat > "$1.kubeconfig" <<KUBECONFIG
apiVersion: v1
kind: Config
current-context: barnabas-local
clusters:
- name: barnabas-local
  cluster:
    server: https://$CONTROL_PLANE_ADDRESS:$API_PORT
    certificate-authority-data: $(base64 -w0 ca.crt)
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$1.crt")
    client-key-data: $(base64 -w0 "$1.key")
contexts:
- name: barnabas-local
  context: {cluster: barnabas-local, user: $1}
KUBECONFIG
  chmod 600 "$1.kubeconfig"
}
