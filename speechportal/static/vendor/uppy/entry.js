// The source of uppy.min.js: Uppy's core and its S3 uploader. To make it again:
//   npm install @uppy/core@6.3.1 @uppy/aws-s3@6.3.1 esbuild@0.28.2
//   npx esbuild entry.js --bundle --minify --format=esm --legal-comments=inline --outfile=uppy.min.js
export { default as AwsS3 } from "@uppy/aws-s3";
export { default as Uppy } from "@uppy/core";
export { getDroppedFiles } from "@uppy/core/utils";
