package spec

// Content is what a file holds.
type Content string

// The contents of DESIGN.md 1.2. The -der forms hold the first block of their PEM form.
const (
	ContentCert             Content = "cert"
	ContentChain            Content = "chain"
	ContentFullchain        Content = "fullchain"
	ContentKey              Content = "key"
	ContentCA               Content = "ca"
	ContentCombined         Content = "combined"           // leaf, chain, key
	ContentCombinedKeyFirst Content = "combined-key-first" // key, leaf, chain
	ContentPKCS12           Content = "pkcs12"
	ContentJKS              Content = "jks"
	ContentTrustPKCS12      Content = "truststore-pkcs12"
	ContentTrustJKS         Content = "truststore-jks"
	ContentCertDER          Content = "cert-der"
	ContentKeyDER           Content = "key-der"
	ContentCADER            Content = "ca-der"
	ContentCRL              Content = "crl"     // not in this version
	ContentCRLDER           Content = "crl-der" // not in this version
	ContentContext          Content = "context" // the description of a docker context; no file of the spec's has it
)

// HoldsKey reports whether a file of this content holds a private key.
func (c Content) HoldsKey() bool {
	switch c {
	case ContentKey, ContentKeyDER, ContentCombined, ContentCombinedKeyFirst, ContentPKCS12, ContentJKS:
		return true
	}
	return false
}

// HoldsTrust reports whether a file of this content is made of the trusted CAs alone.
func (c Content) HoldsTrust() bool {
	switch c {
	case ContentCA, ContentCADER, ContentTrustPKCS12, ContentTrustJKS:
		return true
	}
	return false
}

// Keystore reports whether a file of this content is PKCS#12 or JKS and so needs a password.
func (c Content) Keystore() bool {
	switch c {
	case ContentPKCS12, ContentJKS, ContentTrustPKCS12, ContentTrustJKS:
		return true
	}
	return false
}
