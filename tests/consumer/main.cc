// Uses an installed Verbatim like any other program would: one call into each library it links.
#include <cstdio>

#include "base/hash.h"

int main() {
  // The digest of "abc" in FIPS 180-4.
  const bool right = verbatim::sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  std::printf("%s\n", right ? "found and working" : "wrong digest");
  return right ? 0 : 1;
}
