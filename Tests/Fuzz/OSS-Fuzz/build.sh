#!/bin/bash -eu
# Builds the fuzzers as OSS-Fuzz wants them: programs, seed corpora and dictionaries in $OUT.
#
# It also runs outside of OSS-Fuzz: `SRC=… OUT=… build.sh`, where $SRC/keybroker is this repository.

# The image says there which flags a sanitizer needs. Elsewhere there is only libFuzzer.
if command -v precompile_swift >/dev/null; then . precompile_swift; fi
flags=${SWIFT6_2FLAGS:---sanitize fuzzer}
# Where the fuzzers run there are no libraries but those of $OUT.
flags+=' -Xlinker -rpath -Xlinker $ORIGIN/lib'

cd "$SRC/keybroker"
export KEYBROKER_FUZZ=1
fuzz=Tests/Fuzz
for target in $(grep -v '^#' "$fuzz/targets"); do
    # The flags are several words.
    # shellcheck disable=SC2086
    swift build --configuration release --scratch-path "${SCRATCH:-.build-fuzz}" $flags --product "fuzz-$target"
    # shellcheck disable=SC2086
    binaries=$(swift build --configuration release --scratch-path "${SCRATCH:-.build-fuzz}" $flags --show-bin-path)
    cp "$binaries/fuzz-$target" "$OUT/"
    rm -f "$OUT/fuzz-${target}_seed_corpus.zip"
    (cd "$fuzz/Corpus/$target" && zip -q "$OUT/fuzz-${target}_seed_corpus.zip" ./*)
    cp "$fuzz/Dictionaries/$target.dict" "$OUT/fuzz-$target.dict"
done

mkdir -p "$OUT/lib"
find "$OUT" -maxdepth 1 -name 'fuzz-*' -executable -exec ldd {} + | awk '/lib(crypto|z)\.so/ { print $3 }' | sort -u | xargs -r cp -Lt "$OUT/lib"
