# As a script (cmake -P): writes a digest of FILES and of the text WITH to OUT, as the C++ of kernels/kernels_digest.h.
# Included: metvox_kernels_digest(), which has that done for the sources that decide what is fastest on a GPU.
if(CMAKE_SCRIPT_MODE_FILE)
  set(all "${WITH}")
  foreach(file ${FILES})
    file(SHA256 ${file} digest)
    string(APPEND all ${digest})
  endforeach()
  string(SHA256 digest "${all}")
  string(SUBSTRING ${digest} 0 12 digest)
  file(WRITE ${OUT} "#include \"kernels/kernels_digest.h\"\n\nnamespace metvox {\n"
       "const char* const kKernelsDigest = \"${digest}\";\n}\n")
  return()
endif()

function(metvox_kernels_digest)
  set(root ${CMAKE_SOURCE_DIR}/kernels)
  file(GLOB files CONFIGURE_DEPENDS ${root}/cuda/* ${root}/cudnn/* ${root}/cublas/* ${root}/conv*)
  set(out ${CMAKE_BINARY_DIR}/kernels_digest.cpp)
  add_custom_command(OUTPUT ${out} VERBATIM DEPENDS ${files} ${CMAKE_CURRENT_FUNCTION_LIST_FILE}
                     COMMAND ${CMAKE_COMMAND} "-DFILES=${files}" -DOUT=${out}
                             "-DWITH=${CMAKE_CUDA_ARCHITECTURES} ${CMAKE_CUDA_COMPILER_VERSION}"
                             -P ${CMAKE_CURRENT_FUNCTION_LIST_FILE})
  target_sources(metvox_kernels PRIVATE ${out})
endfunction()
