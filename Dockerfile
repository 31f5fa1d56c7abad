# The program alone, built before: see docs/service.md. It needs nothing else of a file system, and no shell is there for
# anybody else.
FROM scratch
LABEL org.opencontainers.image.title="certwright" \
      org.opencontainers.image.description="Keep the TLS of Docker as tls.yaml says, proven on the wire" \
      org.opencontainers.image.source="https://github.com/certwright/certwright" \
      org.opencontainers.image.documentation="https://github.com/certwright/certwright/blob/main/docs/service.md" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY certwright /
ENTRYPOINT ["/certwright"]
