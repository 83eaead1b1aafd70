# openssl.sh DIR: keys, digests, signatures, encryption, certificates; prints what is the same in every run.
set -eu
cd "$1"
seq 1 400000 >plain
for digest in sha256 sha512 sha3-256 blake2b512; do openssl dgst -$digest plain; done
for cipher in aes-256-cbc aes-128-ctr camellia-256-cbc chacha20; do
    openssl enc -$cipher -pbkdf2 -iter 1000 -S 0011223344556677 -pass pass:secret -in plain -out sealed
    openssl dgst -sha256 sealed
    openssl enc -d -$cipher -pbkdf2 -iter 1000 -S 0011223344556677 -pass pass:secret -in sealed -out opened
    cmp plain opened
done
openssl genrsa -out rsa.pem 2048
openssl rsa -in rsa.pem -check -noout
openssl rsa -in rsa.pem -pubout -out rsa.pub
openssl dgst -sha256 -sign rsa.pem -out signature plain
openssl dgst -sha256 -verify rsa.pub -signature signature plain
openssl ecparam -name prime256v1 -genkey -noout -out ec.pem
openssl req -x509 -new -key ec.pem -subj /CN=example.org -days 2 -out certificate.pem
openssl verify -CAfile certificate.pem certificate.pem
openssl x509 -in certificate.pem -noout -subject
openssl speed -seconds 1 -bytes 8192 sha256 >/dev/null
openssl list -digest-algorithms | sha256sum
