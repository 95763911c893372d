"""What every face needs of HTTP: the server, the request scope, authentication, ranges."""
