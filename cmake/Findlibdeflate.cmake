# libdeflate 1.x as the target libdeflate::libdeflate; Debian 12's package brings no configuration for CMake.
find_path(libdeflate_INCLUDE_DIR libdeflate.h)
find_library(libdeflate_LIBRARY deflate)
if(libdeflate_INCLUDE_DIR)
  file(STRINGS ${libdeflate_INCLUDE_DIR}/libdeflate.h lines REGEX "define LIBDEFLATE_VERSION_(MAJOR|MINOR)")
  list(TRANSFORM lines REPLACE "[^0-9]+" "")
  list(JOIN lines . libdeflate_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(libdeflate REQUIRED_VARS libdeflate_LIBRARY libdeflate_INCLUDE_DIR
                                  VERSION_VAR libdeflate_VERSION HANDLE_VERSION_RANGE)
if(libdeflate_FOUND AND NOT TARGET libdeflate::libdeflate)
  add_library(libdeflate::libdeflate UNKNOWN IMPORTED)
  set_target_properties(libdeflate::libdeflate PROPERTIES IMPORTED_LOCATION ${libdeflate_LIBRARY}
                                                          INTERFACE_INCLUDE_DIRECTORIES ${libdeflate_INCLUDE_DIR})
endif()
