#include "words/trigram_hasher.h"
