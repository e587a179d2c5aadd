/** Style sheets as text: the bundler puts them into the program. */
declare module '*.css' {
  const text: string;
  export default text;
}
