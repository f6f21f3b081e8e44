# Writes OUTPUT with the version and the commit of SOURCE; leaves it alone when nothing changed, so that nothing is
# compiled again.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=10 HEAD OUTPUT_VARIABLE commit
                OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
else()
  execute_process(COMMAND git -C ${SOURCE} diff-index --quiet HEAD -- src RESULT_VARIABLE changed ERROR_QUIET)
  if(changed)
    string(APPEND commit "+")
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT}
     CONTENT "#define VERBATIM_VERSION \"${VERSION}\"\n#define VERBATIM_COMMIT \"${commit}\"\n")
